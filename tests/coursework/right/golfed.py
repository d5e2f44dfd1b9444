"""Style: as short as it gets, with names of one letter for everything but the options.

Solves: all
"""
import numpy as n
S=n.s_
a=(0,2,3)
v=lambda t:t[:,None,None]
P=lambda x,p,c=0:n.pad(x,[(0,0)]*2+[(p,p)]*2,constant_values=c)
def G(h,w,k,s,d):
    o,q=((z-d*(y-1)-1)//s+1 for z,y in zip((h,w),k))
    return o,q,[S[:,:,i*d:i*d+s*o:s,j*d:j*d+s*q:s]for i in range(k[0])for j in range(k[1])]
def im2col(x,k,stride=1,padding=0,dilation=1):x=P(x,padding);o,q,g=G(*x.shape[2:],k,stride,dilation);return n.stack([x[i]for i in g],2).reshape(len(x),-1,o*q)
def col2im(c,z,k,stride=1,padding=0,dilation=1):
    p=padding;x=P(n.zeros(z),p);o,q,g=G(*x.shape[2:],k,stride,dilation)
    for i,t in zip(g,n.moveaxis(c.reshape(*z[:2],-1,o,q),2,0)):x[i]+=t
    return x[:,:,p:p+z[2],p:p+z[3]]
def conv2d_forward(x,w,b=None,stride=1,padding=0,dilation=1,groups=1):
    r=stride,padding,dilation;k=w.shape[2:];c=im2col(x,k,*r).reshape(len(x),groups,w[0].size,-1);o,q,_=G(x.shape[2]+2*padding,x.shape[3]+2*padding,k,stride,dilation)
    return(w.reshape(groups,-1,w[0].size)@c).reshape(len(x),-1,o,q)+(0 if b is None else v(b)),(x.shape,c,w,b,r)
def conv2d_backward(d,c):z,c,w,b,r=c;g=c.shape[1];e=d.reshape(len(d),g,len(w)//g,-1);return col2im((w.reshape(g,-1,w[0].size).transpose(0,2,1)@e).reshape(z[0],-1,e.shape[-1]),z,w.shape[2:],*r),(e@c.transpose(0,1,3,2)).sum(0).reshape(w.shape),b if b is None else d.sum(a)
def batchnorm2d_forward(x,w,b,m,s,training,momentum=.1,eps=1e-5):
    u,t,o=m,s,momentum*training
    if training:u,t=x.mean(a),x.var(a)
    r=(t+eps)**-.5;h=(x-v(u))*v(r)
    return h*v(w)+v(b),(h,w*r,training),m+o*(u-m),s+o*(x.var(a,ddof=1)-s if training else 0*s)
def batchnorm2d_backward(d,c):h,r,t=c;w,b=(d*h).sum(a),d.sum(a);return v(r)*(d-t*(v(b)+h*v(w))*len(b)/d.size),w,b
relu_forward=lambda x:(x*(x>0),x>0)
relu_backward=lambda d,c:d*c
def max_pool2d_forward(x,kernel_size,stride,padding=0):x=P(x,padding,-n.inf);o,q,g=G(*x.shape[2:],(kernel_size,)*2,stride,1);t=n.stack([x[i]for i in g]);return t.max(0),(x.shape,t.argmax(0),g,padding)
def max_pool2d_backward(d,c):
    z,m,g,p=c;x=n.zeros(z)
    for k,i in enumerate(g):x[i]+=d*(m==k)
    return x[:,:,p:z[2]-p,p:z[3]-p]
global_avg_pool_forward=lambda x:(x.mean((2,3)),x.shape)
global_avg_pool_backward=lambda d,c:n.zeros(c)+d[...,None,None]/c[2]/c[3]
linear_forward=lambda x,w,b:(x@w.T+b,(x,w))
linear_backward=lambda d,c:(d@c[1],d.T@c[0],d.sum(0))
def softmax_cross_entropy(z,y):z=z-z.max(1)[:,None];l=z-n.log(n.exp(z).sum(1))[:,None];h=n.eye(z.shape[1])[y];return-(l[h>0]).mean(),(n.exp(l)-h)/len(z)
def N(x,p,k,t):return batchnorm2d_forward(x,*[p[k+i]for i in(".weight",".bias",".running_mean",".running_var")],t)[:2]
def F(x,p,s,t,L):
    c=[];y=x
    for i,(u,q)in enumerate(L,1):
        y,f=conv2d_forward(y,p[f"conv{i}.weight"],stride=u,padding=q);y,g=N(y,p,f"bn{i}",t);r=None
        if i<len(L):y,r=relu_forward(y)
        c+=[(f"conv{i}",f"bn{i}",f,g,r)]
    e=[]
    if"shortcut.conv.weight"in p:x,f=conv2d_forward(x,p["shortcut.conv.weight"],stride=s);x,g=N(x,p,"shortcut.bn",t);e=[("shortcut.conv","shortcut.bn",f,g,None)]
    y,r=relu_forward(y+x);return y,(c,e,r)
def U(d,c,G):
    for k,b,f,g,r in c[::-1]:
        if r is not None:d=relu_backward(d,r)
        d,G[b+".weight"],G[b+".bias"]=batchnorm2d_backward(d,g);d,G[k+".weight"],_=conv2d_backward(d,f)
    return d
def R(d,c):G={};d=relu_backward(d,c[2]);return U(d,c[0],G)+U(d,c[1],G),G
basic_block_forward=lambda x,p,stride=1,training=True:F(x,p,stride,training,[(stride,1),(1,1)])
bottleneck_block_forward=lambda x,p,stride=1,training=True:F(x,p,stride,training,[(1,0),(stride,1),(1,0)])
basic_block_backward=bottleneck_block_backward=R
def sgd_momentum_step(p,g,v,lr,momentum=.9,weight_decay=0.):v=momentum*v+g+weight_decay*p;return p-lr*v,v
def train_small_resnet(x,y,p,steps,lr,momentum=.9):
    p=dict(p);V={};l=[]
    for _ in range(steps):
        q=lambda b:{k[7:]:p[k]for k in p if k.startswith(b)};G={}
        h,f=conv2d_forward(x,p["stem.conv.weight"],padding=1);h,g=N(h,p,"stem.bn",True);h,r=relu_forward(h)
        h,A=basic_block_forward(h,q("block1."));h,B=basic_block_forward(h,q("block2."),2);h,o=global_avg_pool_forward(h);h,w=linear_forward(h,p["head.weight"],p["head.bias"])
        e,d=softmax_cross_entropy(h,y);l+=[e];d,G["head.weight"],G["head.bias"]=linear_backward(d,w);d=global_avg_pool_backward(d,o)
        for b,c in("block2.",B),("block1.",A):
            d,i=basic_block_backward(d,c);G|={b+k:z for k,z in i.items()}
        U(d,[("stem.conv","stem.bn",f,g,r)],G)
        for k in G:p[k],V[k]=sgd_momentum_step(p[k],G[k],V.get(k,0*p[k]),lr,momentum)
    return n.array(l),p
